import type { Home } from "../cluster/home.ts";
import { refusedEra } from "../cluster/guard.ts";
import { sqlStateOf } from "../failures.ts";
import type { Fence } from "../fence.ts";
import type { Session } from "../session.ts";
import type { OwnershipOptions } from "./options.ts";

/**
 * Ends the lock session, after removing our row, if there is one: it must not
 * stay beside a successor's. The signal ends the wait for the server.
 */
export async function leaveSchema(
  session: Session,
  fence: Fence | undefined,
  { home, connect }: Pick<OwnershipOptions, "home" | "connect">,
  signal?: AbortSignal,
): Promise<void> {
  const error = await removeRow(session, fence, home, signal);
  // Then the session has been read-only since it began, or the schema is elsewhere;
  // the next may lead to where the row is.
  const isMoved = refusedEra(error) !== undefined;
  if (sqlStateOf(error) !== "25006" && !isMoved) return;
  if (isMoved) home.lose(refusedEra(error));
  const next = await connect(signal).catch(() => undefined);
  if (next !== undefined) await removeRow(next, fence, home, signal);
}

/**
 * Ends the session; returns the reason if the row could not be removed. The
 * successor then removes it, and nobody is left who needs the reason.
 */
async function removeRow(
  session: Session,
  fence: Fence | undefined,
  home: Home,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const giveUp = () => session.giveUp("Closed before the answer came");
  signal?.addEventListener("abort", giveUp, { once: true });
  try {
    const guard = home.guard?.write ?? [];
    if (session.usable && fence) await session.run([...guard, fence.removal]);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await session.close();
    signal?.removeEventListener("abort", giveUp);
  }
}
