import { scramVerifier } from "./configuration.ts";
import { type ServerPlan, Supervisor } from "./supervisor.ts";

/**
 * Starts a server and returns the function that ends it. The superuser gets
 * this password; a foreign cluster keeps its own.
 */
export async function startServer(
  plan: ServerPlan,
  password = "",
): Promise<() => Promise<void>> {
  const supervisor = new Supervisor(plan);
  const end = async () => {
    try {
      await supervisor.stop();
    } finally {
      await plan.binaries.release();
    }
  };
  try {
    await supervisor.start(await scramVerifier(password));
  } catch (error) {
    await end().catch(() => {});
    throw error;
  }
  return end;
}
