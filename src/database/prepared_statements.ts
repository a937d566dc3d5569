/**
 * The statements that a session has prepared, by their texts.
 *
 * The server keeps a prepared statement until it is closed: a name that is
 * forgotten here would cost memory for as long as the session lives. So each
 * name is stored here, or is due to be closed, or was never parsed.
 */

interface Prepared {
  readonly name: string;
  /** The number of its last use. */
  usedAt: number;
}

/** A name, and the statement that it stands for. */
export interface NamedStatement {
  readonly name: string;
  readonly text: string;
}

/** Keeps a limited number: the least recently used one is closed first. */
export class PreparedStatements {
  readonly #max: number;
  readonly #byText = new Map<string, Prepared>();
  /** Names that the server may know, but that are no longer used. */
  #toClose: string[] = [];
  #names = 0;
  #uses = 0;
  #runBegan = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** Begins a run: no statement that it uses or adds is closed during it. */
  beginRun(): void {
    this.#runBegan = this.#uses;
  }

  /** The name of a statement about to be used, if it is prepared. */
  use(text: string): string | undefined {
    const prepared = this.#byText.get(text);
    if (prepared === undefined) return undefined;
    prepared.usedAt = ++this.#uses;
    return prepared.name;
  }

  /** Names a new statement; drops another one if there are too many. */
  add(text: string): string {
    while (this.#byText.size >= this.#max && this.#drop());
    const name = `s${++this.#names}`;
    this.#byText.set(text, { name, usedAt: ++this.#uses });
    return name;
  }

  /** The names to close before the next parse. */
  takeClosed(): string[] {
    const names = this.#toClose;
    if (names.length > 0) this.#toClose = [];
    return names;
  }

  /** Forgets statements that the server did not parse. */
  remove(unparsed: readonly NamedStatement[]): void {
    for (const { name, text } of unparsed) {
      if (this.#byText.get(text)?.name === name) this.#byText.delete(text);
    }
  }

  /** Called when the server does not know a name, and so probably no other. */
  lost({ name, text }: NamedStatement): void {
    // If it was not parsed, it has been removed already; the others remain.
    if (this.#byText.get(text)?.name === name) this.renew();
  }

  /** Has all statements parsed again: they or their plans may be gone. */
  renew(): void {
    for (const { name } of this.#byText.values()) this.#toClose.push(name);
    this.#byText.clear();
  }

  /**
   * Searches all statements, which costs less than preparing one. Keeping them
   * in the order of use would change the map at every use.
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
