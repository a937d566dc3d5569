/** `node:process` as snippets get it: they may not end the tests. */
import { testDatabaseUrl } from "../database.ts";

const address = await testDatabaseUrl();

export default {
  /** Every variable holds the address of the tests' server. */
  env: new Proxy({} as Record<string, string | undefined>, {
    get: () => address,
  }),
  exitCode: undefined as number | undefined,
  exit: (_code?: number): void => {},
  once: (_event: string, _listener: () => void): void => {},
  on: (_event: string, _listener: () => void): void => {},
};
