import type { Reading } from "./instruments.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

/** How many there are. */
export interface Counts {
  /** Streams by type. */
  readonly streams: ReadonlyMap<string, number>;
  /** Media streams by what the offloader has to do with them; if it runs. */
  readonly waiting: ReadonlyMap<string, number> | undefined;
}

/**
 * Numbers that take a query over all streams. Whoever collects metrics gets the
 * last ones, and none before there are any; that he has looked lets the next be
 * counted.
 */
export class StreamCounts {
  #counts: Counts | undefined;
  #isAsked = false;
  #onAsked: () => void = () => {};

  constructor(registry: Registry) {
    registry.gauges(
      metrics.streams,
      () => readings(this.#counts?.streams, attributes.streamType),
    );
    registry.gauges(
      metrics.mediaWaiting,
      () => readings(this.#counts?.waiting, attributes.mediaTask),
    );
    registry.onRead(() => {
      this.#isAsked = true;
      if (this.#counts === undefined) this.#onAsked();
    });
  }

  /** Somebody has collected metrics since the last counts. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** Calls back while somebody collects metrics and there are no counts yet. */
  onAsked(callback: () => void): void {
    this.#onAsked = callback;
  }

  /** These are the counts now. */
  record(counts: Counts): void {
    this.#counts = counts;
    this.#isAsked = false;
  }
}

function readings(
  counts: ReadonlyMap<string, number> | undefined,
  by: string,
): Reading[] {
  return Array.from(counts ?? [], ([key, value]) => ({
    attributes: { [by]: key },
    value,
  }));
}
