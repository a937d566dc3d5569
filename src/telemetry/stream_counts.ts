import type { Reading } from "./instruments.ts";
import { attributes, metrics } from "./names.ts";
import type { Registry } from "./registry.ts";

/** The numbers of streams. */
export interface Counts {
  /** Streams by type. */
  readonly streams: ReadonlyMap<string, number>;
  /** Media streams by the offloader's task for them, if it runs. */
  readonly waiting: ReadonlyMap<string, number> | undefined;
}

/**
 * Numbers that take a query over all streams. A collection gets the last
 * numbers, if there are any; it also requests the next count.
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

  /** Whether metrics were collected since the last count. */
  get isAsked(): boolean {
    return this.#isAsked;
  }

  /** Registers a callback for collections before the first count. */
  onAsked(callback: () => void): void {
    this.#onAsked = callback;
  }

  /** Stores the present counts. */
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
