/** The version of this program, as package.json gives it; a constant so that a bundle needs no file beside it. */
export const VERSION = '0.1.0';
