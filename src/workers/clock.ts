/** Time and randomness for the workers, so that tests can control both. */
export interface Clock {
  /** Milliseconds that never go backwards. */
  now(): number;
  /** Calls back once, after a delay; returns a function that cancels it. */
  after(milliseconds: number, callback: () => void): () => void;
  /** A number from 0 (included) to 1 (excluded). */
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
