/**
 * Things that end in any order are told in the order in which they began: who
 * goes on behind the last one that was told must not miss an earlier one.
 */
export class InOrder {
  readonly #report: (name: string) => void;
  #open: { name: string; isDone: boolean; isReported: boolean }[] = [];

  constructor(report: (name: string) => void) {
    this.#report = report;
  }

  /**
   * Something begins; what is returned is called when it has ended, with false if
   * it was nothing.
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
