/**
 * Sessions for what outlasts a transaction: advisory locks and LISTEN.
 *
 * Behind a pooler in transaction mode, each transaction may run on another
 * session of the server, and nothing shows it: a lock is taken on one of them
 * and stays there, LISTEN succeeds and no notification ever comes. Two owners
 * of a schema would both rely on one lock. Such a connection is refused.
 *
 * How it is recognized
 * 1. A server sends its process id as a connection starts. A pooler can't: it
 *    does not know yet on which session the client will work, so it sends an id
 *    of its own. If the id is that of the session that answers, the connection
 *    is direct (or a proxy passes bytes on), and nothing more is checked.
 * 2. Otherwise there is a pooler. The connection listens, then leaves its
 *    session alone; a second connection notifies. If the second one works on
 *    the first one's session, sessions are shared. If the notification reaches
 *    the first connection while it asks for nothing, its session is its own, as
 *    in session mode or once such a pooler has pinned it. If not, the
 *    connection is useless, whatever the reason.
 *
 * Only then is it set up (role_settings.ts): settings on a shared session would
 * stay for others. So no statement before that may look up anything by the
 * path.
 */

import { StreamStorageError } from "../storage/errors.ts";
import type { ConnectionTarget } from "./connection_target.ts";
import { type ConnectOptions, connectSession } from "./driver.ts";
import { quoteIdentifier } from "./migrations/sql_text.ts";
import { applySettings, lastingSettings } from "./role_settings.ts";
import type { Session } from "./session.ts";
import { bind, statement } from "./statement.ts";

/** How long a notification may take; only a refused client waits that long. */
const notifiedWithinMs = 2000;

/** How long an answer may take until it is known where answers come from. */
const otherAnswersWithinMs = 10_000;

const backendPid = statement({
  text: "SELECT pg_catalog.pg_backend_pid()",
  columns: ["int4"],
  once: true,
});

const notify = statement({
  text: "SELECT pg_catalog.pg_notify($1, '') IS NULL",
  params: ["text"],
  columns: ["bool"],
  once: true,
});

/**
 * Connects like `connectSession`, to a session of the server that belongs to
 * the caller until it is closed.
 *
 * @throws {StreamStorageError} BAD_CONFIG, reason `transaction_pooler`.
 */
export async function connectLastingSession(
  target: ConnectionTarget,
  options: ConnectOptions,
): Promise<Session> {
  const session = await connectSession(target, {}, options);
  try {
    if (
      await isDirect(session) ||
      await keepsItsSession(session, target, options)
    ) {
      await applySettings(session, lastingSettings(options.answerTimeoutMs));
      return session;
    }
  } catch (error) {
    session.destroy("The connection could not be examined", error);
    throw error;
  }
  await session.close();
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message: "The connection leads through a pooler in transaction mode, " +
      "where the owner's lock would not hold and notifications get lost: " +
      "give the address of the server itself as ownershipUrl",
    details: { reason: "transaction_pooler" },
  });
}

/** Whether there is no pooler in between; see 1. in the head of this file. */
export async function isDirect(session: Session): Promise<boolean> {
  const [{ rows: [row] }] = await session.run([bind(backendPid)]);
  return row?.[0] === session.processId;
}

/**
 * Refuses a pooler, before anything is set that its other clients would
 * inherit.
 *
 * @throws {StreamStorageError} BAD_CONFIG, reason `transaction_pooler`.
 */
export async function assertDirect(session: Session): Promise<void> {
  if (await isDirect(session)) return;
  session.destroy("The connection leads through a pooler");
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message: "The connection leads through a pooler, but there was none when " +
      "the reader was opened: set preparedStatements to false",
    details: { reason: "transaction_pooler" },
  });
}

async function keepsItsSession(
  session: Session,
  target: ConnectionTarget,
  options: ConnectOptions,
): Promise<boolean> {
  const channel = `stream_storage_${crypto.randomUUID()}`;
  const listen = once(`LISTEN ${quoteIdentifier(channel)}`);
  const unlisten = once(`UNLISTEN ${quoteIdentifier(channel)}`);
  let isNotified = false;
  const waited = Promise.withResolvers<void>();
  const stopWaiting = waited.resolve;
  session.onNotification(({ channel: notified }) => {
    isNotified ||= notified === channel;
    if (isNotified) stopWaiting();
  });
  void session.closed.then(stopWaiting);
  // A replicating proxy may never answer this.
  const late = setTimeout(
    () => session.giveUp("No answer from the server to LISTEN"),
    otherAnswersWithinMs,
  );
  const [, { rows: [own] }] = await session.run([listen, bind(backendPid)])
    .finally(() => clearTimeout(late));
  const other = await connectSession(target, {}, {
    ...options,
    answerTimeoutMs: Math.min(options.answerTimeoutMs, otherAnswersWithinMs),
  });
  const giveUp = () => {
    for (const each of [session, other]) each.destroy("Opening was aborted");
  };
  options.signal?.addEventListener("abort", giveUp, { once: true });
  const timer = setTimeout(stopWaiting, notifiedWithinMs);
  try {
    // Where sessions are shared, this leaves the first one as it was.
    const [{ rows: [theirs] }] = await other.run([
      bind(backendPid),
      bind(notify, channel),
      unlisten,
    ]);
    if (theirs?.[0] === own?.[0]) return false;
    await waited.promise;
    // The notification may have been delayed; the answer to this brings it.
    await session.run([unlisten]);
    return isNotified;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", giveUp);
    await other.close();
  }
}

function once(text: string) {
  return bind(statement({ text, once: true }));
}
