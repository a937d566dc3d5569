/**
 * The statements that a session has prepared, by their texts.
 *
 * What the server was told to prepare it keeps until it is told to close it:
 * a name that is merely forgotten here costs its memory for as long as the
 * session lives. So each name is here, or is to be closed, or was never parsed.
 */

interface Prepared {
  readonly name: string;
  /** The number of its last use. */
  usedAt: number;
}

/** A name, and what it stands for. */
export interface NamedStatement {
  readonly name: string;
  readonly text: string;
}

/** Keeps so many at most: the one that was not used for longest has to go. */
export class PreparedStatements {
  readonly #max: number;
  readonly #byText = new Map<string, Prepared>();
  /** Names that the server may know, and that nobody uses any more. */
  #toClose: string[] = [];
  #names = 0;
  #uses = 0;
  #runBegan = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** What is used or added from now on is for one run: none of it goes. */
  beginRun(): void {
    this.#runBegan = this.#uses;
  }

  /** The name of a statement that is to be used now, if it is prepared. */
  use(text: string): string | undefined {
    const prepared = this.#byText.get(text);
    if (prepared === undefined) return undefined;
    prepared.usedAt = ++this.#uses;
    return prepared.name;
  }

  /** Names a new one, in the place of another if there are too many. */
  add(text: string): string {
    while (this.#byText.size >= this.#max && this.#drop());
    const name = `s${++this.#names}`;
    this.#byText.set(text, { name, usedAt: ++this.#uses });
    return name;
  }

  /** The names that have to be closed, in front of what is parsed next. */
  takeClosed(): string[] {
    const names = this.#toClose;
    if (names.length > 0) this.#toClose = [];
    return names;
  }

  /** The server did not come to parse these. */
  remove(unparsed: readonly NamedStatement[]): void {
    for (const { name, text } of unparsed) {
      if (this.#byText.get(text)?.name === name) this.#byText.delete(text);
    }
  }

  /** The server does not know a name, and as a rule no other one, then. */
  lost({ name, text }: NamedStatement): void {
    // One that was not parsed has been removed already; the others are there.
    if (this.#byText.get(text)?.name === name) this.renew();
  }

  /** All have to be parsed anew: their plans, or they, may be no more. */
  renew(): void {
    for (const { name } of this.#byText.values()) this.#toClose.push(name);
    this.#byText.clear();
  }

  /**
   * A search through all, which costs less than what is prepared instead; to
   * keep them in the order of use would change the map at every use.
   */
  #drop(): boolean {
    let oldest: [text: string, Prepared] | undefined;
    for (const entry of this.#byText) {
      if (entry[1].usedAt < (oldest?.[1].usedAt ?? Infinity)) oldest = entry;
    }
    if (oldest === undefined || oldest[1].usedAt > this.#runBegan) return false;
    this.#byText.delete(oldest[0]);
    this.#toClose.push(oldest[1].name);
    return true;
  }
}
