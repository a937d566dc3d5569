/** Why a pool gives no session. Nothing was sent. */

/** The queue of waiting work is full; nothing was sent. */
export class PoolOverloadError extends Error {
  override readonly name = "PoolOverloadError";
  readonly waiting: number;

  constructor(waiting: number) {
    super(`Expected fewer than ${waiting} waiting calls`);
    this.waiting = waiting;
  }
}

/** The pool accepts no more work; nothing was sent. */
export class PoolClosedError extends Error {
  override readonly name = "PoolClosedError";

  constructor() {
    super("The pool was closed");
  }
}

/** No session became free in time; nothing was sent. */
export class PoolTimeoutError extends Error {
  override readonly name = "PoolTimeoutError";
  readonly waitedMs: number;

  constructor(waitedMs: number) {
    super(`Expected a connection within ${waitedMs} ms`);
    this.waitedMs = waitedMs;
  }
}
