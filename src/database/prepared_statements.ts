/** The statements that a session has prepared, by their texts. */

interface Prepared {
  readonly name: string;
  /** The number of its last use. */
  usedAt: number;
}

/** Keeps so many at most: the one that was not used for longest has to go. */
export class PreparedStatements {
  readonly #max: number;
  readonly #byText = new Map<string, Prepared>();
  #names = 0;
  #uses = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** The name of a statement that is to be used now, if it is prepared. */
  use(text: string): string | undefined {
    const prepared = this.#byText.get(text);
    if (prepared === undefined) return undefined;
    prepared.usedAt = ++this.#uses;
    return prepared.name;
  }

  /** Names a new one; `closes` is the name of the one that has to go. */
  add(text: string): { name: string; closes: string | undefined } {
    const closes = this.#byText.size < this.#max ? undefined : this.#drop();
    const name = `s${++this.#names}`;
    this.#byText.set(text, { name, usedAt: ++this.#uses });
    return { name, closes };
  }

  /** The server may have none of them any more. */
  clear(): void {
    this.#byText.clear();
  }

  /**
   * A search through all, which costs less than what is prepared instead; to
   * keep them in the order of use would change the map at every use.
   */
  #drop(): string {
    let oldest: [text: string, Prepared] | undefined;
    for (const entry of this.#byText) {
      if (entry[1].usedAt < (oldest?.[1].usedAt ?? Infinity)) oldest = entry;
    }
    const [text, { name }] = oldest!;
    this.#byText.delete(text);
    return name;
  }
}
