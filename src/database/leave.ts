/**
 * Leaves a session whose answer is no longer awaited.
 *
 * A server does not check on its client while it works. If the connection were
 * just dropped, a waiting statement (a commit that waits for its standby, say)
 * would go on unseen and hold one of the server's connections. New sessions
 * would be opened and left in the same way, until the server accepts none. So
 * the work is canceled, the end is announced, and the server closes.
 */

import type { Socket } from "node:net";
import { atMost } from "../storage/at_most.ts";
import { terminate } from "./login/messages.ts";

/** How long to wait for a server that accepts cancel requests. */
const leaveMs = 30_000;

/** How long a cancel request may take; an unreachable server accepts none. */
const cancelMs = 2000;

/** Another waiting statement may follow a canceled one. */
const cancelAgainMs = 1000;

/** Resolves once the server has let go, or waiting for it is useless. */
export async function leave(
  socket: Socket,
  cancel: (withinMs: number) => Promise<boolean>,
): Promise<void> {
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  socket.once("close", resolve);
  socket.once("end", resolve);
  const timer = setTimeout(resolve, leaveMs);
  let isGone = socket.destroyed;
  void gone.then(() => isGone = true);
  // What was not sent was not executed, and is no longer needed.
  let isReached = socket.writableLength === 0;
  while (!isGone && isReached) {
    isReached = await Promise.race([cancel(cancelMs), gone.then(() => false)]);
    if (!isReached) break;
    if (!socket.writableEnded) socket.end(terminate());
    await atMost(cancelAgainMs, gone);
  }
  clearTimeout(timer);
  socket.destroy();
}
