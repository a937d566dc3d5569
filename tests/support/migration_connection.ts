/** Plain sessions for tests that work below the store. */
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { connectSession } from "../../src/database/driver.ts";
import type { Session } from "../../src/database/session.ts";

/** Connects; each statement may take a minute, as long as any migration's. */
export function openSession(url: string): Promise<Session> {
  return connectSession(parseConnectionUrl(url), {}, {
    preparedStatements: true,
    answerTimeoutMs: 60_000,
  });
}
