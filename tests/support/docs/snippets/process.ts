/** `node:process` for snippets, which must not end the tests. */
import { testDatabaseUrl } from "../../database.ts";

const address = await testDatabaseUrl();
const listeners: (() => void)[] = [];

export default {
  /** Every variable holds the URL of the tests' server. */
  env: new Proxy({} as Record<string, string | undefined>, {
    get: () => address,
  }),
  exitCode: undefined as number | undefined,
  once: (_signal: string, listener: () => void): void => {
    listeners.push(listener);
  },
};

/** Sends the signal on which a snippet closes its store. */
export function endProgram(): void {
  for (const listener of listeners.splice(0)) listener();
}
