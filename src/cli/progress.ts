/**
 * Shows the progress of long work: on a terminal a bar with rate and time left,
 * elsewhere a line now and then. The progress goes to stderr, so that stdout
 * holds only results.
 */

import { formatBytes, formatCount, formatDuration } from "./format.ts";
import { displayWidth, type Output, widthOf } from "./screen.ts";

/** The unit that is counted. */
export type Unit = "bytes" | "streams" | "blocks" | "steps" | "partitions";

/** The amount of work that is done. */
export interface Amount {
  done: number;
  /** The whole amount; undefined: unknown. */
  total?: number | undefined;
  /** A text at the end of the line, for example the number of findings. */
  note?: string | undefined;
}

/** Work that ends sooner shows nothing. */
const showAfterMs = 700;
const redrawMs = 100;
/** How often a line is printed where there is no terminal. */
const lineEveryMs = 10_000;
const barWidth = 24;

/**
 * Places left free behind the bar: one for the cursor and two for the `^C` that
 * the terminal shows for Ctrl-C. Otherwise `^C` would wrap the line, and half
 * of the line would stay.
 */
const roomBehind = 3;

/** The bar of one command. */
export class Progress implements Disposable {
  readonly #output: Output;
  readonly #label: string;
  readonly #unit: Unit;
  readonly #since = performance.now();
  readonly #first: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #amount: Amount;
  #isShown = false;

  /** `start.done` was done by the earlier run, which this one continues. */
  constructor(
    output: Output,
    { label, unit, start = { done: 0 } }: {
      label: string;
      unit: Unit;
      start?: Amount;
    },
  ) {
    this.#output = output;
    this.#label = label;
    this.#unit = unit;
    this.#amount = start;
    this.#first = start.done;
    const everyMs = output.isTTY ? redrawMs : lineEveryMs;
    this.#timer = setInterval(() => this.#draw(), everyMs);
  }

  /** Sets the amount that is done. */
  at(amount: Amount): void {
    this.#amount = amount;
  }

  /**
   * Removes the bar, so that something else can be printed. The next amount
   * shows it again.
   */
  hide(): void {
    if (this.#isShown) this.#output.write("\r\x1b[K");
    this.#isShown = false;
  }

  /** Ends the progress. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.hide();
  }

  #draw(): void {
    const ms = performance.now() - this.#since;
    if (ms < showAfterMs) return;
    const line = progressLine(
      {
        label: this.#label,
        unit: this.#unit,
        amount: this.#amount,
        rate: (this.#amount.done - this.#first) / (ms / 1000),
      },
      this.#output.isTTY ? widthOf(this.#output) - roomBehind : Infinity,
    );
    if (!this.#output.isTTY) {
      this.#output.write(`${line}\n`);
      return;
    }
    this.#isShown = true;
    this.#output.write(`\r\x1b[K${line}`);
  }
}

/** The values that a line shows. */
export interface ProgressLine {
  label: string;
  unit: Unit;
  amount: Amount;
  /** Units a second. */
  rate: number;
}

/**
 * Makes the line. If it would be too wide, the least important parts are left
 * out.
 */
export function progressLine(
  { label, unit, amount: { done, total, note }, rate }: ProgressLine,
  width: number,
): string {
  const count = (value: number) =>
    unit === "bytes" ? formatBytes(value) : formatCount(Math.round(value));
  const perSecond = unit !== "bytes" && rate < 10
    ? rate.toFixed(1)
    : count(rate);
  const speed = rate > 0 ? [`${perSecond}/s`] : [];
  const extra = note === undefined ? [] : [note];
  if (total === undefined) {
    const name = unit === "bytes" ? "" : ` ${unit}`;
    return fit([`${label} ${count(done)}${name}`, ...speed, ...extra], width);
  }
  const part = total === 0 ? 1 : Math.min(1, Math.max(0, done / total));
  const filled = Math.round(part * barWidth);
  const bar = "█".repeat(filled) + "░".repeat(barWidth - filled);
  const left = rate > 0 && done < total
    ? [`${formatDuration((total - done) / rate)} left`]
    : [];
  const head = `${label} ${bar} ${
    String(Math.floor(part * 100)).padStart(3)
  } %`;
  return fit([head, ...left, ...speed, ...extra], width);
}

function fit(parts: string[], width: number): string {
  while (parts.length > 1 && displayWidth(parts.join(", ")) > width) {
    parts.pop();
  }
  const text = parts.join(", ");
  return displayWidth(text) <= width ? text : text.slice(0, width);
}
