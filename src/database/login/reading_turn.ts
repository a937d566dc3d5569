/**
 * Ends a turn of the event loop in which much is read.
 *
 * While a socket has more bytes, a runtime may read it again and again in one
 * turn: Deno and Bun read several megabytes. The decoding of small rows then
 * stops the loop for 60 ms or more: no timer fires, and no other call gets its
 * answer. So a socket that has filled a large piece pauses for the rest of a
 * turn whose time is up.
 */

import type { Socket } from "node:net";
import { setImmediate } from "node:timers";

/** From this size on, more bytes are likely to wait in the socket. */
const largeBytes = 16 * 1024;
/** Milliseconds of a turn in which large pieces are read. */
const turnMs = 10;

/** When the first large piece of this turn came, from whatever socket. */
let since: number | undefined;

/** Called when a piece of so many bytes was read and dealt with. */
export function pauseIfTurnIsOver(socket: Socket, bytes: number): void {
  if (bytes < largeBytes) return;
  const now = performance.now();
  if (since === undefined) {
    since = now;
    setImmediate(() => since = undefined);
  } else if (now - since > turnMs) {
    socket.pause();
    setImmediate(() => socket.resume());
  }
}
