/**
 * What a server says until it is ready, as messages. Whoever listens at a port
 * can send anything here before it has proved who it is, so all is bounded: a
 * message is refused by its header, and the login as a whole holds so many
 * bytes and no more.
 */

import { Buffer } from "node:buffer";
import { LoginProtocolError } from "./login_error.ts";

/** A message's letter and its body, which is the caller's. */
export interface LoginMessage {
  code: number;
  body: Buffer;
}

const headerBytes = 5;
/** libpq takes 30 000 bytes of an error, 2000 of anything else. */
const maxMessageBytes = 64 * 1024;
/** All parameters are about 500 bytes; a trigger at login may give notices. */
const maxLoginBytes = 1024 * 1024;

/** Takes bytes at one end and gives messages at the other, to one reader. */
export class LoginInput {
  #bytes = Buffer.allocUnsafe(1024);
  #start = 0;
  #end = 0;
  #received = 0;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  /** Takes what came; it is copied. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    this.#received += chunk.length;
    if (this.#received > maxLoginBytes) {
      return this.fail(
        new LoginProtocolError(
          `Expected a login of at most ${maxLoginBytes} bytes`,
        ),
      );
    }
    this.#reserve(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
    this.#wake?.();
  }

  /** Nothing will come any more; who reads gets the error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** The server's one byte about TLS, which must come alone. */
  async byte(): Promise<number> {
    await this.#until(1);
    const byte = this.#bytes[this.#start++]!;
    return byte;
  }

  /**
   * The next message.
   *
   * @throws {LoginProtocolError} the bytes can't be a message of a login.
   */
  async message(): Promise<LoginMessage> {
    await this.#until(headerBytes);
    const code = this.#bytes[this.#start]!;
    const length = this.#bytes.readInt32BE(this.#start + 1);
    if (length < 4 || length > maxMessageBytes) {
      throw new LoginProtocolError(
        `Expected a message of 4 to ${maxMessageBytes} bytes, ` +
          `got ${length}: is this a PostgreSQL server?`,
      );
    }
    await this.#until(1 + length);
    const end = this.#start + 1 + length;
    const body = Buffer.from(
      this.#bytes.subarray(this.#start + headerBytes, end),
    );
    this.#start = end;
    return { code, body };
  }

  /** What came behind the last message. */
  rest(): Buffer {
    const rest = Buffer.from(this.#bytes.subarray(this.#start, this.#end));
    this.#start = this.#end;
    return rest;
  }

  async #until(bytes: number): Promise<void> {
    while (this.#end - this.#start < bytes) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
    }
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const held = this.#end - this.#start;
    // Twice as much, lest bytes that drip in are copied again and again.
    const room = Buffer.allocUnsafe(2 * (held + bytes));
    this.#bytes.copy(room, 0, this.#start, this.#end);
    this.#bytes = room;
    this.#start = 0;
    this.#end = held;
  }
}
