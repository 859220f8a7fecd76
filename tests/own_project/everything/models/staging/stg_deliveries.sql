select delivery_id, kilos from {{ source('mill', 'deliveries') }}
