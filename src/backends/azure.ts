/**
 * OpenAI's models at Azure: the same words at other addresses, with the key in `api-key`. The model of a target is the name of its
 * deployment. Source: "Azure OpenAI in Microsoft Foundry Models v1 API" and "REST API reference", read 2026-11-22.
 */
import type { AzureBackendConfig } from '../config/schema.ts'
import type { Backend } from './backend.ts'
import { OpenAIBackend } from './openai.ts'
import type { UpstreamOptions } from './upstream.ts'

/** @throws Error when the configuration has a header that is not the operator's to set */
export function createAzureBackend (config: AzureBackendConfig, options: UpstreamOptions): Backend {
  const hasDeployments = config.api === 'deployments'
  const query = config.apiVersion === undefined ? '' : `?api-version=${config.apiVersion}`
  const baseUrl = `${config.baseUrl.replace(/\/+$/, '')}/openai/${hasDeployments ? 'deployments' : 'v1'}${query}`
  return new OpenAIBackend({ ...config, baseUrl }, options, {
    credential: { header: 'api-key' },
    ...hasDeployments && { folderOf: (model: string) => `/${encodeURIComponent(model)}` }
  })
}
