/** What a handler is written with: the package `slipway-runner`. */
export { z } from 'zod';
export { ConfigurationError, PermanentError, TemporaryError } from './errors.ts';
export { defineHandler, type Handler, type HandlerContext, type HandlerTask } from './handlers/handler.ts';
