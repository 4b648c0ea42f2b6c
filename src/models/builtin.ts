/** The model that comes with the gateway, so that a first run answers without a download (models/pilot/train/README.md). */
import { fileURLToPath } from 'node:url'

export const BUILTIN_MODEL = {
  name: 'pilot',
  path: fileURLToPath(new URL('../../models/pilot/pilot.Q8_0.gguf', import.meta.url)),
  sha256: 'e371129692050af44441d001edbd688f6901bee27f06119fc93a56816d620922',
  contextTokens: 2048
} as const
