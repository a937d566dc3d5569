/** Where the progress bar appears. */
export interface ProgressOutput {
  isTTY?: boolean | undefined;
  write(text: string): unknown;
}

/** Runs that take less time show no bar. */
const showAfterMs = 2000;
const redrawMs = 100;
const width = 30;

/** Shows a bar on a terminal, and nothing elsewhere. */
export class Progress implements Disposable {
  readonly #output: ProgressOutput;
  readonly #showAt = performance.now() + showAfterMs;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #phase = "";
  #done = 0;
  #total = 0;
  #shown = false;

  constructor(output: ProgressOutput) {
    this.#output = output;
    if (output.isTTY) this.#timer = setInterval(() => this.#draw(), redrawMs);
  }

  /** Begins a phase; without `total`, the amount of work is unknown. */
  begin(phase: string, total = 0): void {
    this.#phase = phase;
    this.#done = 0;
    this.#total = total;
  }

  /** Adds to the work that is done. */
  advance(amount: number): void {
    this.#done += amount;
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#shown) this.#output.write("\r\x1b[K");
  }

  #draw(): void {
    if (performance.now() < this.#showAt) return;
    this.#shown = true;
    this.#output.write(`\r\x1b[K${this.#line()}`);
  }

  #line(): string {
    if (this.#total === 0) return `${this.#phase}…`;
    const part = Math.min(1, this.#done / this.#total);
    const filled = Math.round(part * width);
    const bar = "█".repeat(filled) + "░".repeat(width - filled);
    return `${this.#phase} ${bar} ${Math.floor(part * 100)} %`;
  }
}
