import { streamStorageContract } from "../src/testing/contract.ts";
import { contractStore } from "./support/storage.ts";

streamStorageContract(() => contractStore(), { name: "PostgreSQL" });
