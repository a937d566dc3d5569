/**
 * Reads the messages of a server until it is ready. Before the server has
 * proved who it is, anyone at its port may send anything here. So everything is
 * bounded: a message is refused by its header, and the login as a whole has a
 * limit of bytes.
 */

import { Buffer } from "node:buffer";
import { LoginProtocolError } from "./login_error.ts";

/** A message's letter and its body, which belongs to the caller. */
export interface LoginMessage {
  code: number;
  body: Buffer;
}

const headerBytes = 5;
/** libpq accepts 30 000 bytes of an error and 2000 of other messages. */
const maxMessageBytes = 64 * 1024;
/** All parameters take about 500 bytes; a login trigger may add notices. */
const maxLoginBytes = 1024 * 1024;

/** Takes in bytes and returns messages, to one reader. */
export class LoginInput {
  #bytes = Buffer.allocUnsafe(1024);
  #start = 0;
  #end = 0;
  #received = 0;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  /** Takes in bytes; they are copied. */
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

  /** Ends the input; the reader gets the error. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** The server's single byte about TLS, which must come alone. */
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

  /** The bytes after the last message. */
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
    // Doubles, so that bytes that trickle in are not copied again and again.
    const room = Buffer.allocUnsafe(2 * (held + bytes));
    this.#bytes.copy(room, 0, this.#start, this.#end);
    this.#bytes = room;
    this.#start = 0;
    this.#end = held;
  }
}
