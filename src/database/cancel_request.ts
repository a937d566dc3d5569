/**
 * Asks a server to cancel a session's work: a connection of its own that sends
 * nothing else (PostgreSQL documentation, "Canceling Requests in Progress"). It
 * is encrypted if the session is, like libpq's PQcancelBlocking: with the
 * secret key, anyone could cancel the session's statements.
 */

import type { SslOptions } from "./connection_target.ts";
import type { Address } from "./current_server.ts";
import { readTlsSettings, type TlsSettings } from "./login/certificates.ts";
import { Line } from "./login/line.ts";
import { LoginInput } from "./login/login_input.ts";
import { cancelRequest, sslRequest } from "./login/messages.ts";
import { readTlsAnswer } from "./login/tls.ts";

/** The session, and how it was reached. */
export interface CancelTarget {
  address: Address;
  /** Undefined if the session is not encrypted. */
  ssl: SslOptions | undefined;
  processId: number;
  /** Empty if the server has sent none. */
  secretKey: Uint8Array;
}

/** Whether the server has received the request in time. Never rejects. */
export async function requestCancel(
  { address, ssl, processId, secretKey }: CancelTarget,
  withinMs: number,
): Promise<boolean> {
  if (secretKey.length === 0) return false;
  const line = new Line(ssl === undefined ? "plain" : "tls");
  let isLate = false;
  const giveUp = () => {
    isLate = true;
    line.destroy(new Error("No answer to a cancel request"));
  };
  const timer = setTimeout(giveUp, withinMs);
  try {
    const closed = new Promise<void>((resolve) => line.onLost(() => resolve()));
    // Read again: those of the session may be out of date by now.
    const tls = ssl && await readTlsSettings(ssl);
    await line.connect(address, undefined);
    if (tls !== undefined) await encrypt(line, tls, address.host);
    line.send(cancelRequest(processId, secretKey));
    // The server's answer is to close the connection, in whatever way.
    await closed;
    return !isLate;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    line.destroy(new Error("The cancel request is over"));
  }
}

async function encrypt(
  line: Line,
  ssl: TlsSettings,
  host: string,
): Promise<void> {
  if (ssl.negotiation !== "direct") {
    const input = new LoginInput();
    line.receive((chunk) => input.push(chunk));
    line.onLost((error) => input.fail(error));
    line.send(sslRequest());
    if (!await readTlsAnswer(input)) throw new Error("Expected TLS");
  }
  await line.encrypt(ssl, host);
}
