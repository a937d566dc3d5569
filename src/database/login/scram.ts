/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the
 * password, and neither sends it.
 */

import { Buffer } from "node:buffer";
import {
  createHash,
  createHmac,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";
import { LoginError, LoginProtocolError } from "./login_error.ts";
import { saslprep } from "./saslprep.ts";

/**
 * A few seconds of work, which can't be interrupted once it has begun.
 * PostgreSQL's default is 4096.
 */
export const maxScramIterations = 5_000_000;

/** What the client says about the channel: the GS2 header of the exchange. */
export type Gs2Header = "n,," | "y,," | "p=tls-server-end-point,,";

/** The client's side of one exchange. */
export class ScramClient {
  readonly #password: string;
  readonly #header: Gs2Header;
  readonly #binding: Uint8Array;
  readonly #nonce: string;
  #serverSignature: Buffer | undefined;

  constructor(
    password: string,
    channel: { header: Gs2Header; binding?: Uint8Array },
    nonce: string = randomBytes(18).toString("base64"),
  ) {
    this.#password = saslprep(password);
    this.#header = channel.header;
    this.#binding = channel.binding ?? new Uint8Array(0);
    this.#nonce = nonce;
  }

  /** The client's first message; the startup message has the user's name. */
  first(): string {
    return this.#header + this.#firstBare;
  }

  get #firstBare(): string {
    return `n=,r=${this.#nonce}`;
  }

  /**
   * The client's last message, from the server's first one.
   *
   * @throws {LoginProtocolError | LoginError}
   */
  async final(serverFirst: string): Promise<string> {
    const { nonce, salt, iterations } = this.#read(serverFirst);
    const channel = Buffer.concat([Buffer.from(this.#header), this.#binding]);
    const bare = `c=${channel.toString("base64")},r=${nonce}`;
    const signed = `${this.#firstBare},${serverFirst},${bare}`;
    const salted = await saltedPassword(this.#password, salt, iterations);
    const clientKey = hmac(salted, "Client Key");
    const proof = hmac(hash(clientKey), signed);
    for (let i = 0; i < proof.length; i++) proof[i]! ^= clientKey[i]!;
    this.#serverSignature = hmac(hmac(salted, "Server Key"), signed);
    return `${bare},p=${proof.toString("base64")}`;
  }

  /**
   * Checks the server's last message.
   *
   * @throws {LoginProtocolError | LoginError}
   */
  verify(serverFinal: string): void {
    const [text = ""] = serverFinal.split(",", 1);
    const given = text.startsWith("v=") ? decoded(text.slice(2)) : undefined;
    if (given === undefined) throw malformed("last");
    const own = this.#serverSignature;
    if (own?.length === given.length && timingSafeEqual(own, given)) return;
    throw new LoginError(
      "server_unproven",
      "The server does not know the password: it is not the intended server",
    );
  }

  #read(
    serverFirst: string,
  ): { nonce: string; salt: Buffer; iterations: number } {
    if (!/^[\x21-\x7e]*$/.test(serverFirst)) throw malformed("first");
    const [r = "", s = "", i = ""] = serverFirst.split(",", 3);
    const nonce = r.slice(2);
    const salt = s.startsWith("s=") ? decoded(s.slice(2)) : undefined;
    const iterations = /^i=[1-9]\d{0,9}$/.test(i) ? Number(i.slice(2)) : 0;
    if (!r.startsWith("r=") || salt === undefined || iterations === 0) {
      throw malformed("first");
    }
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce) {
      throw new LoginProtocolError("The server's nonce does not match ours");
    }
    if (iterations > maxScramIterations) {
      throw new LoginError(
        "authentication_unsupported",
        `The server asks for ${iterations} SCRAM iterations, more than ` +
          `${maxScramIterations}: lower scram_iterations and set the ` +
          "password anew",
      );
    }
    return { nonce, salt, iterations };
  }
}

/** PBKDF2, on another thread; in Deno, Node's `pbkdf2` is thrice as slow. */
async function saltedPassword(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<Buffer> {
  const key = await crypto.subtle.importKey(
    "raw",
    new TextEncoder().encode(password),
    "PBKDF2",
    false,
    ["deriveBits"],
  );
  const bits = await crypto.subtle.deriveBits(
    { name: "PBKDF2", hash: "SHA-256", salt: new Uint8Array(salt), iterations },
    key,
    256,
  );
  return Buffer.from(bits);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function hash(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** Decodes strictly: `Buffer` skips invalid base64. Undefined if empty. */
function decoded(text: string): Buffer | undefined {
  const isBase64 = text.length > 0 && text.length % 4 === 0 &&
    /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, "base64") : undefined;
}

function malformed(which: string): LoginProtocolError {
  return new LoginProtocolError(
    `The server's ${which} SCRAM message is malformed`,
  );
}
