/** The rules that every operation of the table obeys, by its sample call. */
import { operationNames, operations } from "../../storage/operations.ts";
import { callSample } from "../samples.ts";
import { testCallRules, testCommonRules, testOptionRules } from "./common.ts";
import type { Suite } from "./suite.ts";
import { newStreamId } from "./support.ts";

/** Registers the tests. */
export function everyOperationContract(suite: Suite): void {
  for (const name of operationNames()) {
    const { kind } = operations[name];
    if (kind === "lists") {
      testOptionRules(
        suite,
        name,
        (storage, options) => callSample(storage, name, newStreamId(), options),
      );
      continue;
    }
    const test = kind === "creates" ? testCallRules : testCommonRules;
    test(
      suite,
      name,
      (storage, id, options) => callSample(storage, name, id, options),
    );
  }
}
