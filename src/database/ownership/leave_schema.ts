import { sqlStateOf } from "../failures.ts";
import type { Fence } from "../fence.ts";
import type { Session } from "../session.ts";

/**
 * Ends the lock session; our row, if there is one, goes before, because it must
 * not keep a successor's company. The signal gives up waiting for the server.
 */
export async function leaveSchema(
  session: Session,
  fence: Fence | undefined,
  connect: (signal?: AbortSignal) => Promise<Session>,
  signal?: AbortSignal,
): Promise<void> {
  const error = await removeRow(session, fence, signal);
  // Then the session has been read-only since it began; the next may not.
  if (sqlStateOf(error) !== "25006") return;
  const next = await connect(signal).catch(() => undefined);
  if (next !== undefined) await removeRow(next, fence, signal);
}

/**
 * Ends the session; returns what kept the row from being removed. The successor
 * removes it then, and there is nobody left to tell.
 */
async function removeRow(
  session: Session,
  fence: Fence | undefined,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const giveUp = () => session.giveUp("Closed before the answer came");
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    if (session.usable && fence) await session.run([fence.removal]);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await session.close();
    signal?.removeEventListener("abort", giveUp);
  }
}
