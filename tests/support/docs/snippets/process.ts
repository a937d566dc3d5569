/** `node:process` as snippets get it: they may not end the tests. */
import { testDatabaseUrl } from "../../database.ts";

const address = await testDatabaseUrl();
const listeners: (() => void)[] = [];

export default {
  /** Every variable holds the address of the tests' server. */
  env: new Proxy({} as Record<string, string | undefined>, {
    get: () => address,
  }),
  exitCode: undefined as number | undefined,
  once: (_signal: string, listener: () => void): void => {
    listeners.push(listener);
  },
};

/** The signal for which a snippet waits: it lets go of its store. */
export function endProgram(): void {
  for (const listener of listeners.splice(0)) listener();
}
