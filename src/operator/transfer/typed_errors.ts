import { operationError } from "../../database/failures.ts";

/** Runs an operation. Its errors become typed errors that name it. */
export async function withTypedErrors<T>(
  name: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw operationError(name, error, signal);
  }
}
