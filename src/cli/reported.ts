/** Runs a command and turns what it throws into a line on standard error and the exit code 1; no stack for the user's own mistakes. */
export async function reported (work: () => Promise<void>): Promise<number> {
  try {
    await work()
    return 0
  } catch (thrown) {
    process.stderr.write(`torchgate: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`)
    return 1
  }
}
