/**
 * Things that end in any order are told in the order in which they began: who
 * goes on behind the last one that was told must not miss an earlier one.
 */
export class InOrder {
  readonly #tell: (name: string) => void;
  #open: { name: string; isDone: boolean; isTold: boolean }[] = [];

  constructor(tell: (name: string) => void) {
    this.#tell = tell;
  }

  /**
   * Something begins; what is returned is called when it has ended, with false if
   * it was nothing.
   */
  begin(name: string): (isTold?: boolean) => void {
    const entry = { name, isDone: false, isTold: true };
    this.#open.push(entry);
    return (isTold = true) => {
      Object.assign(entry, { isDone: true, isTold });
      while (this.#open[0]?.isDone) {
        const { name, isTold } = this.#open.shift()!;
        if (isTold) this.#tell(name);
      }
    };
  }
}
