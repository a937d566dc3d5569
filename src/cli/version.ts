/**
 * The version of this package. It stands here because JSR accepts no imports of
 * JSON; a test compares it with the package's.
 */
export const version = "0.1.0";
