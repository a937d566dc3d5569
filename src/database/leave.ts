/**
 * Leaves a session whose answer is waited for no longer.
 *
 * A server does not look at its client while it works. If the connection were
 * just dropped, a statement that waits (a commit for its standby, say) would wait
 * on, unseen, and hold a place among the server's connections: new sessions would
 * be opened and left in the same way, until the server takes none any more. So the
 * work is canceled, goodbye is said, and then it is the server that closes.
 */

import type { Socket } from "node:net";
import { atMost } from "../storage/at_most.ts";
import { terminate } from "./login/messages.ts";

/** How long a server that takes cancel requests is waited for. */
const leaveMs = 30_000;

/** How long a cancel request may take; a server that is away takes none. */
const cancelMs = 2000;

/** A canceled statement may be followed by another one that waits. */
const cancelAgainMs = 1000;

/** Resolves once the server has let go, or can't be waited for. */
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
  // What has not left has not been executed, and need not be any more.
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
