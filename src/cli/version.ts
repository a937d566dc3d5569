/** Of this package: JSR takes no imports of JSON. A test compares it. */
export const version = "0.1.0";
