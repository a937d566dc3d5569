/** Our messages until the server is ready (PostgreSQL, "Message Formats"). */

import { Buffer } from "node:buffer";
import { LoginError } from "./login_error.ts";

/** The server refuses a longer packet (MAX_STARTUP_PACKET_LENGTH). */
const maxStartupBytes = 10_000;

/** Asks whether the server supports TLS. */
export function sslRequest(): Buffer {
  return Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
}

/** Asks a server to cancel a session's work, on a connection of its own. */
export function cancelRequest(
  processId: number,
  secretKey: Uint8Array,
): Buffer {
  const head = Buffer.from([0, 0, 0, 0, 4, 210, 22, 46, 0, 0, 0, 0]);
  const bytes = Buffer.concat([head, secretKey]);
  bytes.writeInt32BE(bytes.length, 0);
  bytes.writeInt32BE(processId, 8);
  return bytes;
}

/**
 * Begins a session with protocol 3.0.
 *
 * @throws {LoginError} for a zero character, which would begin another
 *   parameter, or for more bytes than a server accepts.
 */
export function startupMessage(
  parameters: Readonly<Record<string, string>>,
): Buffer {
  const words = Object.entries(parameters).flat();
  const at = words.findIndex((word) => word.includes("\0"));
  if (at >= 0) {
    throw new LoginError(
      "login_incomplete",
      `Expected ${words[at & ~1]} without a zero character`,
    );
  }
  const body = Buffer.from([...words, "", ""].join("\0"));
  const bytes = Buffer.alloc(8 + body.length);
  if (bytes.length > maxStartupBytes) {
    throw new LoginError(
      "login_incomplete",
      `Expected user, database, application_name and options to have at ` +
        `most ${maxStartupBytes} bytes, got ${bytes.length}`,
    );
  }
  bytes.writeInt32BE(bytes.length, 0);
  bytes.writeInt32BE(3 << 16, 4);
  body.copy(bytes, 8);
  return bytes;
}

/** Answers a request for a password: in clear text, or hashed by MD5. */
export function passwordMessage(password: string): Buffer {
  return message("p", Buffer.from(`${password}\0`));
}

/** Begins a SASL exchange. */
export function saslInitialResponse(mechanism: string, text: string): Buffer {
  const name = Buffer.from(`${mechanism}\0`);
  const data = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeInt32BE(data.length);
  return message("p", Buffer.concat([name, length, data]));
}

/** Continues a SASL exchange. */
export function saslResponse(text: string): Buffer {
  return message("p", Buffer.from(text));
}

/** Announces the end of the session. */
export function terminate(): Buffer {
  return message("X", Buffer.alloc(0));
}

function message(letter: string, body: Buffer): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes.write(letter, "latin1");
  bytes.writeInt32BE(4 + body.length, 1);
  body.copy(bytes, 5);
  return bytes;
}
