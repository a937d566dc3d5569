/**
 * Reports items in the order in which they began, though they end in any order.
 * So a run that continues after the last reported item misses no earlier one.
 */
export class InOrder {
  readonly #report: (name: string) => void;
  #open: { name: string; isDone: boolean; isReported: boolean }[] = [];

  constructor(report: (name: string) => void) {
    this.#report = report;
  }

  /**
   * Begins an item. Call the returned function when the item has ended, with
   * false if it is not to be reported.
   */
  begin(name: string): (isReported?: boolean) => void {
    const entry = { name, isDone: false, isReported: true };
    this.#open.push(entry);
    return (isReported = true) => {
      Object.assign(entry, { isDone: true, isReported });
      while (this.#open[0]?.isDone) {
        const { name, isReported } = this.#open.shift()!;
        if (isReported) this.#report(name);
      }
    };
  }
}
