/**
 * Runtimes of other versions than these tests', from npm, kept where `.ci/run`
 * keeps its tools.
 */
import { accessSync, constants, existsSync, mkdtempSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { runCommand } from "./run_command.ts";

/** A runtime of npm's, and one of its versions. */
export interface RuntimeVersion {
  name: "bun" | "deno" | "node";
  version: string;
}

/** The program of a runtime, which is installed unless it is there. */
export async function installRuntime(
  { name, version }: RuntimeVersion,
): Promise<string> {
  const dir = join(toolsCache(), `${name}-${version}`);
  const program = join(dir, "node_modules", ".bin", name);
  if (existsSync(program)) return program;
  await mkdir(toolsCache(), { recursive: true });
  // Beside, then renamed: what is there is complete.
  const made = mkdtempSync(join(toolsCache(), "new-"));
  const args = ["install", "--prefix", made, "--no-save", "--no-audit"];
  await runCommand("npm", [...args, "--no-fund", `${name}@${version}`], {
    cwd: made,
  });
  try {
    await rename(made, dir);
  } catch (error) {
    // Others may have been faster.
    await rm(made, { recursive: true });
    if (!existsSync(program)) throw error;
  }
  return program;
}

/** As `.ci/run` has it. */
function toolsCache(): string {
  const home = process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  const name = `stream-storage-tools-${process.getuid?.()}`;
  return join(isWritable(home) ? home : tmpdir(), name, "runtimes");
}

function isWritable(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
