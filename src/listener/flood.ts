/** Failures of strangers, counted by address: scanners and guessers are stopped, whoever has a good key never is. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import rateLimit from '@fastify/rate-limit'
import { GatewayError } from '../errors.ts'

export type FloodCheck = (error: GatewayError, request: FastifyRequest) => Promise<GatewayError>

/** @returns gives the error back, or `too_many_failures` once there were more than that from its address within a minute */
export async function floodCheck (server: FastifyInstance, failuresPerMinute: number): Promise<FloodCheck> {
  await server.register(rateLimit, { global: false })
  const count = server.createRateLimit({ max: failuresPerMinute, timeWindow: 60_000 })
  return async (error, request) => {
    const counted = await count(request)
    if (counted.isAllowed || !counted.isExceeded) return error
    return new GatewayError('too_many_failures', 'Too many failed requests from this address.', { retryAfterS: counted.ttlInSeconds })
  }
}
