{{ config(enabled=false) }}
select * from nowhere
