select 'north' as mill
