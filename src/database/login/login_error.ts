/** Faults of a login that no retry cures. */
export type LoginFault =
  /** TLS is required, but the server has none. */
  | "tls_unavailable"
  /** The TLS handshake failed, mostly because of a certificate. */
  | "tls_failed"
  /** The server asks for a method of authentication that is not supported. */
  | "authentication_unsupported"
  /** The server asks for less than the options insist on. */
  | "authentication_refused"
  /** The server did not prove that it knows the password. */
  | "server_unproven"
  /** Our certificate or key can't be read or used. */
  | "bad_certificate"
  /** A value can't be sent: no password, a zero character. */
  | "login_incomplete";

/**
 * The login can't succeed with this configuration. The message says what was
 * found and what to change; it never contains a password.
 */
export class LoginError extends Error {
  override readonly name = "LoginError";
  readonly fault: LoginFault;

  constructor(fault: LoginFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.fault = fault;
  }
}

/** Not what a PostgreSQL server sends at this point; it may be temporary. */
export class LoginProtocolError extends Error {
  override readonly name = "LoginProtocolError";
}

/** The other side has closed the connection. */
export class ConnectionClosedError extends Error {
  override readonly name = "ConnectionClosedError";

  constructor() {
    super("Connection terminated");
  }
}
