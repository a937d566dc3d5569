/**
 * A screen of its own on a terminal, which can be redrawn. When the screen
 * ends, even by a failure, the terminal shows its earlier text and cursor
 * again.
 */

import process from "node:process";
import { InterruptedError } from "./interruption.ts";

const enter = "\x1b[?1049h\x1b[?25l";
const leave = "\x1b[?25h\x1b[?1049l";

/** The terminal's size. */
export interface ScreenSize {
  columns: number;
  rows: number;
}

/** See the file's head. Quits on q, Ctrl-C and Ctrl-D. */
export class LiveScreen implements Disposable {
  readonly #render: (size: ScreenSize) => string[];
  readonly #controller = new AbortController();
  readonly #onKey = (chunk: Uint8Array) => {
    const keys = String.fromCharCode(...chunk);
    if (keys.includes("\x03")) {
      this.#controller.abort(new InterruptedError("Interrupted"));
    } else if (["q", "Q", "\x04"].includes(keys[0]!)) {
      this.#controller.abort(new QuitError());
    }
  };
  readonly #onResize = () => this.draw();
  readonly #onExit = () => this[Symbol.dispose]();
  #isOpen = true;

  /**
   * `render` makes the lines. Lines that don't fit are cut off at the bottom.
   */
  constructor(render: (size: ScreenSize) => string[]) {
    this.#render = render;
    process.stdout.write(enter);
    process.stdout.on("resize", this.#onResize);
    // A second Ctrl-C ends the process without disposing of the screen.
    process.once("exit", this.#onExit);
    if (!process.stdin.isTTY) return;
    process.stdin.setRawMode(true);
    process.stdin.on("data", this.#onKey);
    process.stdin.resume();
  }

  /** Aborted when the user wants to leave, with {@linkcode QuitError} after q. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Draws the screen again. */
  draw(): void {
    if (!this.#isOpen) return;
    const { columns = 80, rows = 24 } = process.stdout;
    const lines = this.#render({ columns, rows }).slice(0, rows);
    const text = lines.map((line) => `${line}\x1b[K`).join("\r\n");
    process.stdout.write(`\x1b[H${text}\x1b[J`);
  }

  /** Gives the terminal back. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.stdout.off("resize", this.#onResize);
    process.off("exit", this.#onExit);
    if (process.stdin.isTTY) {
      process.stdin.off("data", this.#onKey);
      process.stdin.setRawMode(false);
      process.stdin.pause();
    }
    process.stdout.write(leave);
  }
}

/** The user has pressed q. */
export class QuitError extends Error {
  override readonly name = "QuitError";
}
