import { toStorageError } from "../../database/failures.ts";
import { canceled } from "../../storage/contract_errors.ts";

/** Runs an operation. Its errors become typed errors that name it. */
export async function withTypedErrors<T>(
  name: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (signal?.aborted) throw canceled(signal.reason).withOperation(name);
    throw toStorageError(error).withOperation(name);
  }
}
