/**
 * Things that end in any order are told in the order in which they began: who
 * goes on behind the last one that was told must not miss an earlier one.
 */
export class InOrder {
  readonly #tell: (name: string) => void;
  #open: { name: string; isDone: boolean }[] = [];

  constructor(tell: (name: string) => void) {
    this.#tell = tell;
  }

  /** Something begins; what is returned is called when it has ended. */
  begin(name: string): () => void {
    const entry = { name, isDone: false };
    this.#open.push(entry);
    return () => {
      entry.isDone = true;
      while (this.#open[0]?.isDone) this.#tell(this.#open.shift()!.name);
    };
  }
}
