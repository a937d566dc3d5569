/** The outputs of a command, and the signal that stops it. */

import { once } from "node:events";
import process from "node:process";
import { toJson } from "./format.ts";
import { type Amount, Progress, type Unit } from "./progress.ts";
import { type Palette, paletteOf, widthOf } from "./screen.ts";
import { formatTable, type Table } from "./table.ts";

/** The reader of the output has gone, as after `| head`. */
export class OutputClosedError extends Error {
  override readonly name = "OutputClosedError";
}

/** The outputs of one command. */
export class Cli {
  /**
   * Aborted by Ctrl-C, by SIGTERM, and when the reader of the output has gone.
   */
  readonly signal: AbortSignal;
  /** Whether `--json` was given: stdout is for JSON only. */
  readonly isJson: boolean;
  /** The most places of a line. */
  readonly width: number;
  /** The colours of stdout. */
  readonly colour: Palette;
  #progress: Progress | undefined;

  constructor({ signal, isJson }: { signal: AbortSignal; isJson: boolean }) {
    this.signal = signal;
    this.isJson = isJson;
    this.width = widthOf(process.stdout);
    this.colour = paletteOf(process.stdout);
  }

  /** Prints lines, and waits while the reader is slower. */
  async print(...lines: string[]): Promise<void> {
    await this.bytes(lines.map((line) => `${line}\n`).join(""));
  }

  /** Prints bytes as they are. */
  async bytes(data: Uint8Array | string): Promise<void> {
    this.signal.throwIfAborted();
    this.#progress?.hide();
    if (process.stdout.write(data)) return;
    const { signal } = this;
    await once(process.stdout, "drain", { signal }).catch((error) => {
      // Throws the reason of the abort instead of the error of `once`.
      signal.throwIfAborted();
      throw error;
    });
  }

  /** Prints a table that fits on the screen. */
  async table(table: Table): Promise<void> {
    const [head = "", ...rest] = formatTable(table, this.width);
    await this.print(this.colour.bold(head), ...rest);
  }

  /** Prints one document: the whole result of a command with `--json`. */
  async document(value: unknown): Promise<void> {
    await this.print(toJson(value, 2));
  }

  /** Prints one line of JSON: an entry of a list with `--json`. */
  async jsonLine(value: unknown): Promise<void> {
    await this.print(toJson(value));
  }

  /** Prints a note to stderr; it is not part of the result. */
  note(text: string): void {
    this.#progress?.hide();
    process.stderr.write(`${text}\n`);
  }

  /**
   * Shows the progress of the work until it is disposed of: `using progress =
   * cli.progress("Verifying", "partitions")`.
   */
  progress(label: string, unit: Unit, start?: Amount): Progress {
    this.#progress = new Progress(process.stderr, {
      label,
      unit,
      ...(start && { start }),
    });
    return this.#progress;
  }
}
