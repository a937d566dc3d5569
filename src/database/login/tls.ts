/** TLS in libpq's modes, on top of the runtime's `tls.connect`. */

import { isIP } from "node:net";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import type { SslOptions } from "../connection_target.ts";
import type { TlsSettings } from "./certificates.ts";
import { LoginError, LoginProtocolError } from "./login_error.ts";
import type { LoginInput } from "./login_input.ts";

/**
 * Reads the server's answer to the request for TLS; returns whether it agrees.
 *
 * @throws {LoginError | LoginProtocolError}
 */
export async function readTlsAnswer(input: LoginInput): Promise<boolean> {
  const answer = String.fromCharCode(await input.byte());
  if (input.rest().length > 0) {
    // They would be taken for bytes sent under TLS (CVE-2021-23222).
    throw new LoginError(
      "tls_failed",
      "Bytes came in clear text before the TLS handshake: somebody on the " +
        "way may have inserted them",
    );
  }
  switch (answer) {
    case "S":
    case "N":
      return answer === "S";
    case "E":
      // The error's text could come from anyone (CVE-2024-10977).
      throw new LoginProtocolError(
        "The server answered the request for TLS with an error",
      );
    default:
      throw new LoginProtocolError(
        `Expected S or N about TLS, got ${JSON.stringify(answer)}: is this a ` +
          "PostgreSQL server?",
      );
  }
}

/** The server has no TLS, but the options require it. */
export function tlsUnavailable({ mode }: SslOptions): LoginError {
  return new LoginError(
    "tls_unavailable",
    `The server has no TLS, but sslmode is ${mode}: turn it on there ` +
      "(ssl = on), or set sslmode=prefer",
  );
}

/** Whether the server must show a trusted certificate. */
function isVerified({ mode, pem: { ca } }: TlsSettings): boolean {
  // Like libpq, `require` verifies the certificate if authorities are given.
  return mode === "verify-ca" || mode === "verify-full" ||
    (mode === "require" && ca !== undefined);
}

/** The options for a handshake with this host. */
export function tlsOptions(ssl: TlsSettings, host: string): ConnectionOptions {
  const options: ConnectionOptions = {
    ...ssl.pem,
    // Compared with the certificate if no server name is sent.
    host,
    rejectUnauthorized: isVerified(ssl),
  };
  // An address is not a server name (RFC 6066, section 3).
  if (isIP(host) === 0) options.servername = host;
  if (ssl.mode !== "verify-full") options.checkServerIdentity = () => undefined;
  if (ssl.negotiation === "direct") options.ALPNProtocols = [alpn];
  return options;
}

const alpn = "postgresql";

/**
 * Checks a finished handshake.
 *
 * @throws {LoginError}
 */
export function checkHandshake(socket: TLSSocket, ssl: TlsSettings): void {
  // Runtimes should have refused this themselves.
  if (isVerified(ssl) && !socket.authorized) {
    throw tlsFailed(socket.authorizationError);
  }
  if (ssl.negotiation === "direct" && socket.alpnProtocol !== alpn) {
    throw new LoginError(
      "tls_failed",
      "The server does not speak PostgreSQL directly over TLS, which needs " +
        "PostgreSQL 17: set sslnegotiation=postgres",
    );
  }
}

/**
 * Classifies an error of a handshake: a broken connection may work next time, a
 * certificate that does not fit will not.
 */
export function handshakeError(error: Error): Error {
  const { code } = error as { code?: unknown };
  // The system's own codes, except the one that is about TLS.
  const isBroken = typeof code === "string" && /^E[A-Z]+$/.test(code) &&
    code !== "EPROTO";
  return isBroken ? error : tlsFailed(error);
}

function tlsFailed(cause: unknown): LoginError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new LoginError(
    "tls_failed",
    `The TLS handshake failed: ${text}; see sslmode, sslrootcert (ssl.ca) ` +
      "and the server's certificate",
    cause,
  );
}
