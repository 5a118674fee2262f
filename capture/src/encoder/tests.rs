//! Rows come back as they were, whatever they are, by the library's own reader; and
//! chunks are described as its own writer describes them.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
    cast::AsArray,
    types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use mcrec_schema::columns;
use parquet::{
    arrow::{
        ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder,
        arrow_writer::ArrowWriterOptions,
    },
    basic::{Compression, Encoding, PageType, ZstdLevel},
    file::{
        metadata::{
            ColumnChunkMetaData, FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter,
            RowGroupMetaData,
        },
        properties::{EnabledStatistics, WriterProperties},
        statistics::Statistics,
    },
    schema::types::ColumnPath,
};

use super::{Encoder, RowGroup};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 ^ self.0 >> 29
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 20) % end
    }
}

/// How a column is.
struct Kind {
    /// Of a hundred rows, so many have no value.
    nulls: u64,
    /// The values are any, or so many.
    distinct: Option<u64>,
}

fn kind(random: &mut Random, nullable: bool) -> Kind {
    let nulls = [0, 0, 3, 50, 99, 100][usize::try_from(random.below(6)).unwrap()];
    let distinct = [None, Some(1), Some(2), Some(9), Some(300)];
    Kind {
        nulls: if nullable { nulls } else { 0 },
        distinct: distinct[usize::try_from(random.below(5)).unwrap()],
    }
}

/// Rows of values of this kind: at times the same one many times.
fn numbers(random: &mut Random, kind: &Kind, rows: usize) -> Vec<Option<i64>> {
    let extremes = [i64::MIN, i64::MAX, 0, -1, 1, i64::from(i32::MIN), i64::from(i32::MAX)];
    let mut numbers = Vec::new();
    while numbers.len() < rows {
        let value = match kind.distinct {
            Some(count) => random.below(count).cast_signed() - 1,
            None if random.below(9) == 0 => extremes[usize::try_from(random.below(7)).unwrap()],
            None => random.next().cast_signed() >> random.below(64),
        };
        let value = (random.below(100) >= kind.nulls).then_some(value);
        let run = if random.below(9) == 0 { random.below(200) } else { 1 };
        numbers.extend((0..run).map(|_| value));
    }
    numbers.truncate(rows);
    numbers
}

fn text(number: i64) -> String {
    match number {
        0 => String::new(),
        // As long as keys get, with each byte escaped.
        1 => "\\xff".repeat(250),
        number => format!("ключ:{number}"),
    }
}

fn column(field: &Field, random: &mut Random, kind: &Kind, rows: usize) -> ArrayRef {
    let numbers = numbers(random, kind, rows);
    let texts = || numbers.iter().map(|number| number.map(text));
    match field.data_type() {
        DataType::Int64 => Arc::new(Int64Array::from(numbers)),
        DataType::Timestamp(..) => {
            Arc::new(TimestampMicrosecondArray::from(numbers).with_timezone("UTC"))
        }
        DataType::Int32 => {
            let bits =
                |number: i64| i32::from_le_bytes(*number.to_le_bytes().first_chunk().unwrap());
            Arc::new(numbers.into_iter().map(|number| number.map(bits)).collect::<Int32Array>())
        }
        DataType::Boolean => {
            let odd = |number: i64| number % 2 != 0;
            Arc::new(numbers.into_iter().map(|n| n.map(odd)).collect::<BooleanArray>())
        }
        DataType::Utf8 => Arc::new(texts().collect::<StringArray>()),
        DataType::Dictionary(codes, _) if **codes == DataType::Int8 => {
            let words = ["get", "set", "", "gets", "unused"];
            let word = |number: i64| i8::try_from(number.rem_euclid(4)).unwrap();
            let codes = numbers.into_iter().map(|number| number.map(word)).collect();
            Arc::new(DictionaryArray::<Int8Type>::new(
                codes,
                Arc::new(StringArray::from_iter_values(words)),
            ))
        }
        // Its dictionary is another in each batch.
        _ => {
            let texts: Vec<Option<String>> = texts().collect();
            Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())
        }
    }
}

/// Batches of odd sizes, some of them cut out of larger ones.
fn batches(schema: &SchemaRef, seed: u64) -> Vec<RecordBatch> {
    let mut random = Random(seed);
    let kinds: Vec<Kind> =
        schema.fields().iter().map(|field| kind(&mut random, field.is_nullable())).collect();
    (0..5)
        .map(|_| {
            let rows = [1, 7, 1023, 8192, 25_000][usize::try_from(random.below(5)).unwrap()];
            let (before, after) = [(0, 0), (3, 5)][usize::try_from(random.below(2)).unwrap()];
            let columns = schema
                .fields()
                .iter()
                .zip(&kinds)
                .map(|(field, kind)| column(field, &mut random, kind, before + rows + after));
            let columns = columns.collect();
            let batch = RecordBatch::try_new(SchemaRef::clone(schema), columns).unwrap();
            batch.slice(before, rows)
        })
        .collect()
}

fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> RowGroup {
    let mut encoder = Encoder::new(SchemaRef::clone(schema));
    batches.iter().for_each(|batch| encoder.write(batch).unwrap());
    assert_eq!(encoder.rows(), batches.iter().map(RecordBatch::num_rows).sum::<usize>());
    let estimate = encoder.bytes();
    let group = encoder.finish().unwrap().unwrap();
    assert!(estimate + 4096 > group.bytes().len(), "{estimate} of {}", group.bytes().len());
    assert_eq!((encoder.rows(), encoder.bytes()), (0, 0));
    assert!(encoder.finish().unwrap().is_none());
    group
}

/// A file of one row group.
fn file(group: &RowGroup) -> Bytes {
    let schema = group.metadata.schema_descr_ptr();
    let rows = group.metadata.num_rows();
    let mut bytes = [b"PAR1", group.bytes()].concat();
    let file = FileMetaData::new(1, rows, None, None, Arc::clone(&schema), None);
    let group = group.at(4, &schema).unwrap();
    let metadata = ParquetMetaDataBuilder::new(file).set_row_groups(vec![group]).build();
    ParquetMetaDataWriter::new(&mut bytes, &metadata).finish().unwrap();
    bytes.into()
}

/// All rows of a file at once.
fn read(file: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut reader = reader.with_batch_size(1 << 20).build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    batch
}

/// What is in each row, in words.
fn cells(array: &dyn Array) -> Vec<Option<String>> {
    let rows = 0..array.len();
    match array.data_type() {
        DataType::Int64 => {
            array.as_primitive::<Int64Type>().iter().map(|n| Some(n?.to_string())).collect()
        }
        DataType::Int32 => {
            array.as_primitive::<Int32Type>().iter().map(|n| Some(n?.to_string())).collect()
        }
        DataType::Timestamp(..) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            times.iter().map(|n| Some(n?.to_string())).collect()
        }
        DataType::Boolean => array.as_boolean().iter().map(|n| Some(n?.to_string())).collect(),
        DataType::Utf8 => array.as_string::<i32>().iter().map(|t| Some(t?.to_owned())).collect(),
        _ => {
            let coded = array.as_any_dictionary();
            let values = cells(coded.values());
            let places =
                if values.is_empty() { vec![0; array.len()] } else { coded.normalized_keys() };
            let nulls = array.logical_nulls();
            let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            rows.map(|row| if is_null(row) { None } else { values[places[row]].clone() }).collect()
        }
    }
}

fn assert_same(batches: &[RecordBatch], read: &RecordBatch, of: u64) {
    for (at, column) in read.columns().iter().enumerate() {
        let expected: Vec<_> = batches.iter().flat_map(|batch| cells(batch.column(at))).collect();
        let found = cells(column);
        let differs = expected.iter().zip(&found).position(|(expected, found)| expected != found);
        assert_eq!((differs, found.len()), (None, expected.len()), "{of}, column {at}");
    }
}

/// What captures were written by before, with the same choices.
fn by_the_library(schema: &SchemaRef, batches: &[RecordBatch]) -> RowGroupMetaData {
    let column = |name: &str| ColumnPath::from(name);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_column_dictionary_page_size_limit(column(columns::KEY), 16 << 20);
    for name in super::column::OF_DIFFERENCES {
        // Where there is none, no difference can be told.
        let has_values = |batch: &RecordBatch| {
            batch.column_by_name(name).is_some_and(|rows| rows.null_count() < rows.len())
        };
        if !batches.iter().any(has_values) {
            continue;
        }
        properties = properties
            .set_column_dictionary_enabled(column(name), false)
            .set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    for field in schema.fields() {
        if !matches!(field.data_type(), DataType::Int64 | DataType::Int32 | DataType::Timestamp(..))
        {
            let none = EnabledStatistics::None;
            properties = properties.set_column_statistics_enabled(column(field.name()), none);
        }
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    let schema = SchemaRef::clone(schema);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.flush().unwrap();
    writer.flushed_row_groups()[0].clone()
}

/// Kinds of pages, in the order in which they are there.
fn pages(chunk: &ColumnChunkMetaData) -> Vec<(PageType, Encoding)> {
    let pages = chunk.page_encoding_stats().unwrap();
    pages.iter().map(|pages| (pages.page_type, pages.encoding)).collect()
}

#[test]
fn any_rows_come_back_and_chunks_are_described_as_the_library_does() {
    let coded: SchemaRef = Arc::new(columns::merged_schema());
    let plain = |field: &Arc<Field>| match field.data_type() {
        DataType::Dictionary(..) => field.as_ref().clone().with_data_type(DataType::Utf8),
        _ => field.as_ref().clone(),
    };
    let plain: SchemaRef =
        Arc::new(Schema::new(coded.fields().iter().map(plain).collect::<Vec<_>>()));
    for seed in 1..25 {
        let schema = if seed % 4 == 0 { &plain } else { &coded };
        let batches = batches(schema, seed);
        let group = encode(schema, &batches);
        assert_same(&batches, &read(file(&group)), seed);
        let expected = by_the_library(schema, &batches);
        for (chunk, expected) in group.metadata.columns().iter().zip(expected.columns()) {
            let name = format!("{seed}: {}", chunk.column_path());
            assert_eq!(chunk.statistics(), expected.statistics(), "{name}");
            assert_eq!(chunk.num_values(), expected.num_values(), "{name}");
            assert_eq!(chunk.compression_codec(), expected.compression_codec(), "{name}");
            let differences = (PageType::DATA_PAGE, Encoding::DELTA_BINARY_PACKED);
            if pages(expected) == [differences] && pages(chunk) != pages(expected) {
                // Pages without a value are as in the test of those.
                let rest = pages(chunk).into_iter().filter(|page| *page == differences).count();
                assert!(rest > 0, "{name}");
                continue;
            }
            assert_eq!(chunk.encodings_mask(), expected.encodings_mask(), "{name}");
            assert_eq!(pages(chunk), pages(expected), "{name}");
        }
    }
}

/// One column of this name.
fn one_column(name: &str, array: ArrayRef) -> (SchemaRef, RecordBatch) {
    let field = Field::new(name, array.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![field]));
    (SchemaRef::clone(&schema), RecordBatch::try_new(schema, vec![array]).unwrap())
}

#[test]
fn keys_without_room_in_the_dictionary_are_plain_from_there_on() {
    let key = |n: usize| format!("{n:04}").repeat(if n == 19_500 { 1 << 19 } else { 250 });
    let keys = (0..20_000).map(|n| (n % 11 != 3).then(|| key(n))).collect::<StringArray>();
    let coded = keys.iter().collect::<DictionaryArray<Int32Type>>();
    for array in [Arc::new(keys) as ArrayRef, Arc::new(coded)] {
        let (schema, batch) = one_column(columns::KEY, array);
        // Those that come again have a code, until there are none.
        let batches = [batch.slice(0, 9_000), batch.slice(0, 12_000), batch.slice(9_000, 11_000)];
        let group = encode(&schema, &batches);
        let chunk = group.metadata.column(0);
        let dictionary = (PageType::DICTIONARY_PAGE, Encoding::PLAIN);
        let coded = (PageType::DATA_PAGE, Encoding::RLE_DICTIONARY);
        assert_eq!(pages(chunk), [dictionary, coded, (PageType::DATA_PAGE, Encoding::PLAIN)]);
        // A page for each MiB, and for what is longer.
        let plain = chunk.page_encoding_stats().unwrap()[2].count;
        assert!((4..9).contains(&plain), "{plain}");
        assert_same(&batches, &read(file(&group)), 0);
    }
}

#[test]
fn numbers_of_which_there_are_too_many_have_differences() {
    let number = |n: i64| (n % 5 != 2).then(|| n.wrapping_mul(i64::MAX / 99_991));
    let numbers: ArrayRef = Arc::new((0..300_000).map(number).collect::<Int64Array>());
    let (schema, batch) = one_column(columns::CONN_ID, numbers);
    let batches: Vec<RecordBatch> = (0..30).map(|n| batch.slice(n * 10_000, 10_000)).collect();
    let group = encode(&schema, &batches);
    assert_same(&batches, &read(file(&group)), 0);
    let chunk = group.metadata.column(0);
    let differences = (PageType::DATA_PAGE, Encoding::DELTA_BINARY_PACKED);
    assert_eq!(pages(chunk)[2..], [differences]);
    let Some(Statistics::Int64(statistics)) = chunk.statistics() else { panic!("no statistics") };
    let all = || (0..300_000).filter_map(number);
    assert_eq!(statistics.min_opt().copied(), all().min());
    assert_eq!(statistics.max_opt().copied(), all().max());
    assert_eq!(statistics.null_count_opt(), Some(60_000));
}

#[test]
fn pages_without_a_value_are_of_a_dictionary_whatever_the_others_are() {
    let dictionary = (PageType::DICTIONARY_PAGE, Encoding::PLAIN);
    let coded = (PageType::DATA_PAGE, Encoding::RLE_DICTIONARY);
    let differences = (PageType::DATA_PAGE, Encoding::DELTA_BINARY_PACKED);
    for (values, expected) in [
        (0..0, &[dictionary, coded][..]),
        (20_000..20_001, &[dictionary, coded, differences, coded]),
        (0..60_000, &[differences]),
    ] {
        let numbers = (0..60_000).map(|n| values.contains(&n).then_some(n)).collect::<Int64Array>();
        let (schema, batch) = one_column(columns::CAS, Arc::new(numbers));
        let batches = [batch];
        let group = encode(&schema, &batches);
        assert_eq!(pages(group.metadata.column(0)), expected, "{values:?}");
        assert_same(&batches, &read(file(&group)), 0);
    }
}

#[test]
fn a_dictionary_may_have_nulls_and_none_but_nulls() {
    let codes = Int32Array::from(vec![Some(0), Some(1), None, Some(2), Some(0)]);
    let values = StringArray::from(vec![Some("a"), None, Some("b")]);
    let array: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(codes, Arc::new(values)));
    let none = DictionaryArray::<Int32Type>::new(
        Int32Array::new_null(4),
        Arc::new(StringArray::from(Vec::<&str>::new())),
    );
    for array in [array, Arc::new(none)] {
        let (schema, batch) = one_column(columns::CLIENT, array);
        let batches = [batch];
        assert_same(&batches, &read(file(&encode(&schema, &batches))), 0);
    }
}

#[test]
fn strings_may_have_codes_in_one_batch_and_none_in_the_next() {
    let texts = || [Some("b"), None, Some("a"), Some("b")].into_iter();
    let (schema, coded) =
        one_column(columns::HOST, Arc::new(texts().collect::<DictionaryArray<Int32Type>>()));
    let (_, plain) = one_column(columns::HOST, Arc::new(texts().collect::<StringArray>()));
    let batches = [coded.clone(), plain.slice(1, 3), coded];
    assert_same(&batches, &read(file(&encode(&schema, &batches))), 0);
}

#[test]
fn what_no_capture_has_is_an_error() {
    let error = |schema: &SchemaRef, batch: &RecordBatch| {
        let mut encoder = Encoder::new(SchemaRef::clone(schema));
        format!("{:#}", encoder.write(batch).unwrap_err())
    };
    let (schema, batch) = one_column("x", Arc::new(arrow_array::Float64Array::from(vec![1.0])));
    let text = error(&schema, &batch);
    assert!(text.contains("column x is Float64, which captures do not have"), "{text}");
    let (schema, _) = one_column("x", Arc::new(Int32Array::from(vec![1])));
    let (_, other) = one_column("x", Arc::new(Int64Array::from(vec![1])));
    let text = error(&schema, &other);
    assert!(text.contains("column x: rows are Int64, and the column is Int32"), "{text}");
    let field = Field::new("x", DataType::Int32, false);
    let required: SchemaRef = Arc::new(Schema::new(vec![field]));
    let (_, nulls) = one_column("x", Arc::new(Int32Array::from(vec![None])));
    let text = error(&required, &nulls);
    assert!(text.contains("there are nulls where none may be"), "{text}");
}
