import type { Proxy } from "../network/proxy.ts";

/**
 * Counts how often statements are bound through the proxy, by a piece of their
 * text. A prepared statement is bound by name, so it remembers names.
 */
export class BindCounts<K extends string> {
  readonly #pieces: Record<K, string>;
  readonly #kinds = new Map<string, K>();
  #counts = new Map<K, number>();

  /** Sets the proxy's rule. */
  constructor(proxy: Proxy, pieces: Record<K, string>) {
    this.#pieces = pieces;
    proxy.setRule(({ side, type, bytes, connection }) => {
      const text = bytes.toString("latin1");
      if (side === "frontend" && type === "P") {
        this.#parsed(`${connection} ${nameIn(text, 5)}`, text);
      } else if (side === "frontend" && type === "B") {
        this.#bound(`${connection} ${nameIn(text, 6)}`);
      }
      return "forward";
    });
  }

  /** The count since the last reset. */
  of(kind: K): number {
    return this.#counts.get(kind) ?? 0;
  }

  reset(): void {
    this.#counts = new Map();
  }

  #parsed(name: string, text: string): void {
    for (const [kind, piece] of Object.entries(this.#pieces)) {
      if (text.includes(piece as string)) this.#kinds.set(name, kind as K);
    }
  }

  #bound(name: string): void {
    const kind = this.#kinds.get(name);
    if (kind !== undefined) this.#counts.set(kind, this.of(kind) + 1);
  }
}

const nameIn = (text: string, at: number) =>
  text.slice(at, text.indexOf("\0", at));
