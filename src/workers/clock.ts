/** Time and chance for the workers, so that tests can hold them in hand. */
export interface Clock {
  /** Milliseconds that never go back. */
  now(): number;
  /** Calls once, so many milliseconds from now; returns what prevents it. */
  after(milliseconds: number, callback: () => void): () => void;
  /** From 0 to 1, 1 excluded. */
  random(): number;
}

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, callback) => {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
