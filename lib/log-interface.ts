/** Structured logging: one JSON object a line; secrets are `Secret`s, which print as "[secret]". */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}
