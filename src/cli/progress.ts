/**
 * How far long work is: a bar with rate and time left on a terminal, a line now
 * and then elsewhere. It goes to stderr, so that what is printed stays clean.
 */

import { formatBytes, formatCount, formatDuration } from "./format.ts";
import { displayWidth, type Output, widthOf } from "./screen.ts";

/** What is counted. */
export type Unit = "bytes" | "streams" | "blocks" | "steps" | "partitions";

/** How far the work is. */
export interface Amount {
  done: number;
  /** Unknown if missing. */
  total?: number | undefined;
  /** Shown behind, for example how much was found. */
  note?: string | undefined;
}

/** Work that ends sooner shows nothing. */
const showAfterMs = 700;
const redrawMs = 100;
/** How often a line is printed where there is no terminal. */
const lineEveryMs = 10_000;
const barWidth = 24;

/**
 * Places left free behind the bar: the cursor's, and two for the `^C` that the
 * terminal shows for Ctrl-C. It would wrap the line, and half of it would stay.
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

  /** `start.done` was done before, by the run that is continued. */
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

  /** So far it is now. */
  at(amount: Amount): void {
    this.#amount = amount;
  }

  /** Takes the bar away, so that something else can be printed; it comes back. */
  hide(): void {
    if (this.#isShown) this.#output.write("\r\x1b[K");
    this.#isShown = false;
  }

  /** The work has ended. */
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

/** What a bar's line shows. */
export interface ProgressLine {
  label: string;
  unit: Unit;
  amount: Amount;
  /** Units a second. */
  rate: number;
}

/** The line; what is worth least goes where it would be too wide. */
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
