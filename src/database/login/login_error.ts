/** What is wrong with a login so that no retry mends it. */
export type LoginFault =
  /** TLS is asked for, and the server has none. */
  | "tls_unavailable"
  /** The TLS handshake failed, mostly because of a certificate. */
  | "tls_failed"
  /** The server asks for a method of authentication that we don't have. */
  | "authentication_unsupported"
  /** What the server asks for is less than we were told to insist on. */
  | "authentication_refused"
  /** The server did not prove that it knows the password. */
  | "server_unproven"
  /** A certificate or key of ours can't be read or used. */
  | "bad_certificate"
  /** What we were given can't be sent: no password, a zero character. */
  | "login_incomplete";

/**
 * The login can't succeed with this configuration. The message says what was
 * found and what to change; it never holds a password.
 */
export class LoginError extends Error {
  override readonly name = "LoginError";
  readonly fault: LoginFault;

  constructor(fault: LoginFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.fault = fault;
  }
}

/** Not what a PostgreSQL server says at this place; it may pass by itself. */
export class LoginProtocolError extends Error {
  override readonly name = "LoginProtocolError";
}

/** The other side closed the connection. */
export class ConnectionClosedError extends Error {
  override readonly name = "ConnectionClosedError";

  constructor() {
    super("Connection terminated");
  }
}
